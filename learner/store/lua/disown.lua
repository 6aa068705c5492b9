-- The client was not told that an exchange is captured: it is never learned, whether its capture came through or is still
-- to come. ARGV: request_id, at_ms, keep_ms. Returns prevented (not captured yet), quarantined, or nothing (no sample that
-- could be learned).
local marker = P .. "exchange:" .. ARGV[1]
local here = redis.call("HMGET", marker, "author", "sample")
local key = P .. "sample:" .. (here[2] or "")
redis.call("HSET", marker, "disowned", 1)
delete_after(marker, ARGV[2] + ARGV[3])
if not here[1] then
  return "prevented"
end
local state = redis.call("HGET", key, "state")
if state ~= "held" and state ~= "admitted" then
  return "nothing"
end
local m = move(here[2], "quarantined", { at_ms = tonumber(ARGV[2]), ttl_ms = { quarantined = tonumber(ARGV[3]) } })
m[4] = "unacknowledged"
redis.call("HSET", key, "reason", "unacknowledged", "learnable", 0)
log_moves({ type = "quarantined", at_ms = tonumber(ARGV[2]), actor = "proxy", reason = "unacknowledged" }, { m })
return "quarantined"
