-- One policy's JSON ("" means the live one), with the ids of the live one and the one before it.
local ids = redis.call("HMGET", P .. "state", "policy", "policy_previous")
local live, previous = ids[1] or "", ids[2] or ""
local asked = ARGV[1] ~= "" and ARGV[1] or live
return { live, previous, asked ~= "" and redis.call("GET", P .. "policy:" .. asked) or "" }
