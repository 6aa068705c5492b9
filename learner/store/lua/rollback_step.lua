-- A rollback's samples, or those of its undoing, are all where they belong; a rollback can be undone from now on. ARGV:
-- event JSON with rollback, count, returned, at_ms, actor, reason.
local e = cjson.decode(ARGV[1])
local state = P .. "state"
local left = redis.call("HGET", state, "rollback")
if not left or left == "" or cjson.decode(left).id ~= e.rollback then
  return 0
end
if cjson.decode(left).reverses == "" then
  redis.call("HSET", state, "last_rollback", left)
end
redis.call("HDEL", state, "rollback")
e.type = "rollback_done"
log_event(e)
return 1
