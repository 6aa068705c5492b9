-- Record a version once. ARGV: record JSON, now_ms, the live version whose place it takes, or "-".
-- A factory becomes live where nothing is.
local record = cjson.decode(ARGV[1])
local new = redis.call("HSETNX", P .. "versions", record.id, ARGV[1])
if new == 1 then
  log_event({ type = "version", at_ms = tonumber(ARGV[2]), actor = "learner", reason = "registered", version = record.id })
end
local live = redis.call("HGET", P .. "state", "live")
local vacant = not live or live == "" or live == "factory"
local replaces = ARGV[3] == (live or "") and live ~= record.id
if (record.factory and vacant) or replaces then
  move_live(record.id, tonumber(ARGV[2]))
  local type = record.factory and "factory" or "route"
  local reason = vacant and "first start" or "another upstream in the settings"
  log_event({ type = type, at_ms = tonumber(ARGV[2]), actor = "learner", reason = reason, version = record.id })
end
return new
