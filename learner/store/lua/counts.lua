-- Number of samples per index named in ARGV.
local counts = {}
for i, name in ipairs(ARGV) do
  counts[i] = redis.call("ZCARD", P .. "in:" .. name)
end
return counts
