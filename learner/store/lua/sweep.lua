-- Delete keys whose deadline has passed. ARGV: now_ms, at most. Returns how many. Samples are never among them.
local due = redis.call("ZRANGEBYSCORE", P .. "deadlines", "-inf", ARGV[1], "LIMIT", 0, ARGV[2])
for _, key in ipairs(due) do
  redis.call("DEL", key)
  redis.call("ZREM", P .. "deadlines", key)
end
return #due
