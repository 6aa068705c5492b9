-- The client was not told that an exchange is captured: it is never learned, whether its capture came through or is still
-- to come. ARGV: request_id, at_ms, keep_ms. Returns prevented (not captured yet), quarantined, or nothing (nothing had to
-- move). A sample of it cannot be learned from any more, wherever it is; the event tells the index of a settled one.
local at_ms, keep_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local marker = P .. "exchange:" .. ARGV[1]
local here = redis.call("HMGET", marker, "author", "sample", "disowned")
redis.call("HSET", marker, "disowned", 1)
delete_after(marker, at_ms + keep_ms)
if not here[1] then
  return "prevented"
end
local id = here[2] or ""
if id == "" or here[3] == "1" then
  return "nothing"
end
local event = { type = "unacknowledged", at_ms = at_ms, actor = "proxy", reason = "unacknowledged", sample = id }
local key = P .. "sample:" .. id
local state = redis.call("HGET", key, "state")
if not state then
  log_event(event)
  return "nothing"
end
local waits = state == "held" or state == "admitted"
local to = waits and "quarantined" or state
local m = waits and move(id, to, { at_ms = at_ms, ttl_ms = { quarantined = keep_ms } }) or { id, state, state }
m[4] = "unacknowledged"
redis.call("HSET", key, "reason", "unacknowledged", "learnable", 0)
redis.call("HDEL", key, "was_state", "was_update", "was_released_by")
log_moves(event, { m })
return waits and "quarantined" or "nothing"
