-- A rollback's samples are all back in quarantine. ARGV: event JSON with rollback, count, at_ms, actor, reason.
local e = cjson.decode(ARGV[1])
local state = P .. "state"
local left = redis.call("HGET", state, "rollback")
if not left or left == "" or cjson.decode(left).id ~= e.rollback then
  return 0
end
redis.call("HSET", state, "last_rollback", left)
redis.call("HDEL", state, "rollback")
e.type = "rollback_done"
log_event(e)
return 1
