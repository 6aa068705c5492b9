-- Entries up to an id are sealed on disk: drop them, and the rows that ended before. ARGV: token, last id, at_ms,
-- keep_drawn_ms, at most, head. Returns the number of rows dropped: ask again until it is 0.
if tonumber(redis.call("HGET", P .. "state", "fence") or 0) ~= tonumber(ARGV[1]) then
  return refuse("conflict", "another learner holds the lease; let it work, or stop it first")
end

local function sealed(id)
  local ms, n = string.match(id, "(%d+)-(%d+)")
  local last_ms, last_n = string.match(ARGV[2], "(%d+)-(%d+)")
  ms, last_ms = tonumber(ms), tonumber(last_ms)
  return ms < last_ms or (ms == last_ms and tonumber(n) <= tonumber(last_n))
end

local function drop(id, index)
  local key = P .. "sample:" .. id
  local row = redis.call("HMGET", key, "author", "version")
  redis.call("SREM", P .. "by-author:" .. row[1], id)
  redis.call("SREM", P .. "by-version:" .. row[2], id)
  redis.call("ZREM", P .. "in:" .. index, id)
  redis.call("ZREM", P .. "sample-deadlines", id)
  redis.call("DEL", key)
end

redis.call("XTRIM", P .. "log", "MINID", ARGV[2])
redis.call("XDEL", P .. "log", ARGV[2])
redis.call("HSET", P .. "state", "settled", ARGV[2], "head", ARGV[6])
local pending = redis.call("HGET", P .. "state", "pending")
local dropped = 0
for _, index in ipairs({ "discarded", "expired", "revoked", "drawn" }) do
  local before = index == "drawn" and ARGV[3] - ARGV[4] or "+inf"
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", P .. "in:" .. index, "-inf", before, "LIMIT", 0, ARGV[5])) do
    local row = redis.call("HMGET", P .. "sample:" .. id, "last", "update")
    local last = row[1]
    local under_way = pending and pending ~= "" and row[2] == pending
    -- empty: it came back from the settled and did not move
    if last and (last == "" or sealed(last)) and not under_way then
      drop(id, index)
      dropped = dropped + 1
    end
  end
end
return dropped
