-- The version that was live at ARGV[1] (UTC ms), empty before the first.
local found = redis.call("ZREVRANGEBYSCORE", P .. "moves", ARGV[1], "-inf", "LIMIT", 0, 1)
if not found[1] then
  return ""
end
return string.sub(found[1], string.find(found[1], ":", 1, true) + 1)
