-- The lease of the one learner. ARGV: acquire, release or holder (who has it), holder, now_ms, ttl_ms.
-- Returns the fencing token, or 0.
local key = P .. "lease"
local row = redis.call("HMGET", key, "holder", "until_ms", "token")
local mine = row[1] == ARGV[2]
local alive = row[2] and tonumber(row[2]) > tonumber(ARGV[3])
if ARGV[1] == "holder" then
  return row[1] or ""
end
if ARGV[1] == "release" then
  if mine then
    redis.call("DEL", key)
  end
  return mine and tonumber(row[3]) or 0
end
if alive and not mine then
  return 0
end
local fence = redis.call("HGET", P .. "state", "fence")
-- A lapsed lease that nobody took meanwhile goes on, with its token: work that outlasts the lease is not lost.
local token = mine and row[3] == fence and tonumber(fence) or redis.call("HINCRBY", P .. "state", "fence", 1)
redis.call("HSET", key, "holder", ARGV[2], "until_ms", ARGV[3] + ARGV[4], "token", token)
return token
