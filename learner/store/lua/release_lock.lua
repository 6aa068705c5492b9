-- A request ends without a capture: give back its conversation and its Idempotency-Key. ARGV: conversation, request, idempotency.
local key = P .. "conversation:" .. ARGV[1]
local released = 0
if ARGV[1] ~= "" and redis.call("HGET", key, "lock") == ARGV[2] then
  redis.call("HDEL", key, "lock", "lock_until_ms")
  released = 1
end
local idempotency = P .. "idempotency:" .. ARGV[3]
local row = redis.call("HMGET", idempotency, "state", "request_id")
if ARGV[3] ~= "" and row[1] == "running" and row[2] == ARGV[2] then
  redis.call("DEL", idempotency)
end
return released
