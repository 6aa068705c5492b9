-- Record a version once. ARGV: record JSON, now_ms. A factory becomes live where nothing is.
local record = cjson.decode(ARGV[1])
local new = redis.call("HSETNX", P .. "versions", record.id, ARGV[1])
if new == 1 then
  log_event({ type = "version", at_ms = tonumber(ARGV[2]), actor = "learner", reason = "registered", version = record.id })
end
local live = redis.call("HGET", P .. "state", "live")
if record.factory and (not live or live == "" or live == "factory") then
  move_live(record.id, tonumber(ARGV[2]))
  log_event({ type = "factory", at_ms = tonumber(ARGV[2]), actor = "learner", reason = "first start", version = record.id })
end
return new
