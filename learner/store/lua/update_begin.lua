-- An update that is written down begins. ARGV: event JSON with update, parent, samples, inputs, epoch, token, at_ms, actor,
-- reason. Its samples are drawn next; what is begun without an outcome is resumed or abandoned by the next run.
local e = cjson.decode(ARGV[1])
local state = P .. "state"
local refused = learning_refused(e.token, e.epoch)
if refused then
  return refused
end
if redis.call("HGET", state, "live") ~= e.parent then
  return refuse("conflict", "another version is live than the one this update began from; begin anew")
end
local pending = redis.call("HGET", state, "pending")
if pending and pending ~= "" and pending ~= e.update then
  return refuse("conflict", "another update is under way; run the learner again")
end
redis.call("HSET", state, "pending", e.update)
e.type = "update_begun"
log_event(e)
