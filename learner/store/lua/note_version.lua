-- Note the server's version, unless a newer one is noted: that is for the caller to refuse. Returns the version noted.
local function number(version)
  local major, minor, patch = string.match(version, "(%d+)%.(%d+)%.(%d+)")
  return (tonumber(major) or 0) * 1e6 + (tonumber(minor) or 0) * 1e3 + (tonumber(patch) or 0)
end
local noted = redis.call("HGET", P .. "state", "redis_version") or ""
if number(noted) < number(ARGV[1]) then
  redis.call("HSET", P .. "state", "redis_version", ARGV[1])
  return ARGV[1]
end
return noted
