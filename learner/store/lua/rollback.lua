-- Rollback, or its undoing, one step. ARGV: event JSON with id, from, to, undone, redone, reverses, at_ms, actor,
-- reason. `from` must still be live. What is left to do stays in the state until it is done. Returns the epoch.
local e = cjson.decode(ARGV[1])
local state = P .. "state"
if redis.call("HGET", state, "live") ~= e.from then
  return refuse("conflict", "another version is live by now; look at `tayguard versions`, then decide again")
end
local left = redis.call("HGET", state, "rollback")
if left and left ~= "" then
  return refuse("conflict", "an earlier rollback is still putting samples back; run `tayguard learn --once`, then again")
end
move_live(e.to, e.at_ms)
local epoch = redis.call("HINCRBY", state, "epoch", 1)
redis.call("HSET", state, "frozen", "1")
for _, version in ipairs(e.undone) do
  redis.call("SADD", P .. "undone", version)
end
for _, version in ipairs(e.redone) do
  redis.call("SREM", P .. "undone", version)
end
e.epoch = epoch
redis.call("HSET", state, "rollback", cjson.encode(e))
redis.call("HDEL", state, "last_rollback")
e.type = e.reverses == "" and "rollback" or "rollback_undone"
log_event(e)
return epoch
