-- The pointer: live, previous, epoch, frozen, stopped, policy.
local s = redis.call("HMGET", P .. "state", "live", "previous", "epoch", "frozen", "stopped", "policy")
return { s[1] or "", s[2] or "", s[3] or "", s[4] or "", s[5] or "", s[6] or "" }
