-- Read samples. ARGV: how, what, offset, count, at most. how: ids (what: JSON list), state (index, by its order), due (held
-- and due at `at most`), author, version. Returns one flat row per sample, its id before its fields; nothing for ids without.
local how, what = ARGV[1], ARGV[2]
local offset, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local ids
if how == "ids" then
  ids = cjson.decode(what)
elseif how == "state" then
  ids = redis.call("ZRANGE", P .. "in:" .. what, offset, offset + count - 1)
elseif how == "due" then
  ids = redis.call("ZRANGEBYSCORE", P .. "in:held", "-inf", ARGV[5], "LIMIT", offset, count)
elseif how == "late" then
  ids = redis.call("ZRANGEBYSCORE", P .. "sample-deadlines", "-inf", ARGV[5], "LIMIT", offset, count)
else
  ids = redis.call("SMEMBERS", P .. "by-" .. how .. ":" .. what)
end
local rows = {}
for _, id in ipairs(ids) do
  local row = redis.call("HGETALL", P .. "sample:" .. id)
  if #row > 0 then
    row[#row + 1], row[#row + 2] = "id", id
    rows[#rows + 1] = row
  end
end
return rows
