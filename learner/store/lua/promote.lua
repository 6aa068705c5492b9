-- Promotion, one compare-and-set. ARGV: event JSON with version, update, parent, epoch, token, at_ms, actor, reason; record;
-- the ids of its samples.
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
for _, id in ipairs(cjson.decode(ARGV[3])) do
  local row = redis.call("HMGET", P .. "sample:" .. id, "state", "update")
  if row[1] ~= "admitted" or row[2] ~= e.update then
    return refuse("conflict", "sample " .. id .. " was taken back while its update trained; the others are drawn again")
  end
end
redis.call("HSET", P .. "versions", e.version, ARGV[2])
redis.call("HSET", P .. "learned", e.update, e.version)
redis.call("SREM", P .. "undone", e.version)
move_live(e.version, e.at_ms)
redis.call("HDEL", state, "pending")
e.type = "promoted"
log_event(e)
