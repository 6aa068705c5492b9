-- Read the log. ARGV: after (an entry's id, exclusive; empty: from the start), count, token (0: anyone may read).
-- Returns flat: id, JSON, id, JSON, ...
if tonumber(ARGV[3]) > 0 and tonumber(redis.call("HGET", P .. "state", "fence") or 0) ~= tonumber(ARGV[3]) then
  return refuse("conflict", "another learner holds the lease; let it work, or stop it first")
end
local flat = {}
for _, entry in ipairs(redis.call("XRANGE", P .. "log", ARGV[1] == "" and "-" or "(" .. ARGV[1], "+", "COUNT", ARGV[2])) do
  flat[#flat + 1], flat[#flat + 2] = entry[1], entry[2][2]
end
return flat
