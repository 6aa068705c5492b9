-- A person asks for a second look at an exchange. ARGV: request_id, event JSON. Returns appealed or duplicate.
local exchange = P .. "exchange:" .. ARGV[1]
if redis.call("EXISTS", exchange) == 0 then
  return refuse("unknown", "no recent exchange has this request id; an appeal must name the X-Tayguard-Request-Id of one")
end
if redis.call("HSETNX", exchange, "appealed", 1) == 0 then
  return "duplicate"
end
local sample = redis.call("HGET", exchange, "sample")
if sample and redis.call("EXISTS", P .. "sample:" .. sample) == 1 then
  redis.call("HSET", P .. "sample:" .. sample, "appealed", 1)
end
redis.call("XADD", P .. "log", "*", "e", ARGV[2])
return "appealed"
