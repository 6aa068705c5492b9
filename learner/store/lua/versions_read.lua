-- Versions with their records, the moves of the pointer in order, what is undone, and the switches.
local s = redis.call("HMGET", P .. "state", "live", "previous", "epoch", "frozen", "stopped", "pending", "rollback",
  "last_rollback")
return {
  redis.call("HGETALL", P .. "versions"),
  redis.call("ZRANGE", P .. "moves", 0, -1, "WITHSCORES"),
  redis.call("SMEMBERS", P .. "undone"),
  { s[1] or "", s[2] or "", s[3] or "", s[4] or "", s[5] or "", s[6] or "", s[7] or "", s[8] or "" },
}
