-- Turn frozen or stopped on or off. ARGV: field, event JSON with on, type, at_ms, actor, reason. Raises the epoch.
local e = cjson.decode(ARGV[2])
local state = P .. "state"
local is = redis.call("HGET", state, ARGV[1]) == "1"
if is == e.on then
  return refuse("conflict", e.already)
end
redis.call("HSET", state, ARGV[1], e.on and "1" or "0")
e.epoch = redis.call("HINCRBY", state, "epoch", 1)
e.already = nil
log_event(e)
return e.epoch
