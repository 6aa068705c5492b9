-- Keep packed scores. ARGV: at_ms, ttl_ms, how many at most, then HMAC and scores of each unit. The oldest go first; Redis
-- lets go of what nobody keeps any more by its own clock, so that a guard that is gone leaves nothing behind.
local at_ms, ttl_ms, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ages = P .. "scores"
for at = 4, #ARGV, 2 do
  redis.call("SET", P .. "score:" .. ARGV[at], ARGV[at + 1], "PX", ttl_ms)
  redis.call("ZADD", ages, at_ms, ARGV[at])
end
redis.call("PEXPIRE", ages, ttl_ms)
local function forget(hmacs)
  for _, hmac in ipairs(hmacs) do
    redis.call("ZREM", ages, hmac)
    redis.call("DEL", P .. "score:" .. hmac)
  end
end
forget(redis.call("ZRANGEBYSCORE", ages, "-inf", at_ms - ttl_ms, "LIMIT", 0, 1000))
local over = redis.call("ZCARD", ages) - most
if over > 0 then
  forget(redis.call("ZRANGE", ages, 0, math.min(over, 1000) - 1))
end
return redis.call("ZCARD", ages)
