-- What is undone, and the switches; where ARGV[1] is "all", also the versions' records and the moves of the pointer in order.
local s = redis.call("HMGET", P .. "state", "live", "previous", "epoch", "frozen", "stopped", "pending", "rollback",
  "last_rollback")
local found = {
  redis.call("SMEMBERS", P .. "undone"),
  { s[1] or "", s[2] or "", s[3] or "", s[4] or "", s[5] or "", s[6] or "", s[7] or "", s[8] or "" },
}
if ARGV[1] == "all" then
  found[3] = redis.call("HGETALL", P .. "versions")
  found[4] = redis.call("ZRANGE", P .. "moves", 0, -1, "WITHSCORES")
end
return found
