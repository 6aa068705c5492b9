-- Before a rollback's samples move, note where each was, once, so that the rollback can be undone.
-- ARGV: rollback id, samples JSON: a list of {id, update that trained it or ""}, epoch.
local key = P .. "rollback-before:" .. ARGV[1]
for _, pair in ipairs(cjson.decode(ARGV[2])) do
  local row = redis.call("HMGET", P .. "sample:" .. pair[1], "state", "update", "released_by", "requarantined")
  local was = row[1] or (pair[2] ~= "" and "admitted" or "")
  if (was == "held" or was == "admitted") and row[4] ~= ARGV[3] then
    redis.call("HSETNX", key, pair[1], cjson.encode({ was, row[1] and row[2] or pair[2], row[3] or "" }))
  end
end
return 1
