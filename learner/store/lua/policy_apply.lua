-- Make a policy the live one: its JSON, the event that says so, and "first" (only where none is live) or "set".
local event = cjson.decode(ARGV[2])
local state = P .. "state"
local live = redis.call("HGET", state, "policy") or ""
if live == event.policy or (ARGV[3] == "first" and live ~= "") then
  return { live, redis.call("HGET", state, "epoch") or "0", "0" }
end
redis.call("SET", P .. "policy:" .. event.policy, ARGV[1])
event.before = live
event.epoch = redis.call("HINCRBY", state, "epoch", 1)
redis.call("HSET", state, "policy", event.policy, "policy_previous", live)
log_event(event)
return { event.policy, tostring(event.epoch), "1" }
