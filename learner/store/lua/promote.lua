-- Promotion, one compare-and-set. ARGV: event JSON with version, update, parent, epoch, token, at_ms, actor, reason; record.
local e = cjson.decode(ARGV[1])
local state = P .. "state"
local refused = learning_refused(e.token, e.epoch)
if refused then
  return refused
end
if redis.call("HGET", state, "live") ~= e.parent then
  return refuse("conflict", "another version is live than the one this update began from; begin anew")
end
if redis.call("HGET", state, "pending") ~= e.update then
  return refuse("conflict", "this update is not the one under way; begin anew")
end
redis.call("HSET", P .. "versions", e.version, ARGV[2])
redis.call("SREM", P .. "undone", e.version)
move_live(e.version, e.at_ms)
redis.call("HDEL", state, "pending")
e.type = "promoted"
log_event(e)
