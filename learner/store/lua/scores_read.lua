-- The packed scores of units, by the HMACs in ARGV, in their order; nil where there are none.
local names = {}
for at, hmac in ipairs(ARGV) do
  names[at] = P .. "score:" .. hmac
end
return redis.call("MGET", unpack(names))
