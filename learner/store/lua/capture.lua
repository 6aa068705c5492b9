-- Capture one exchange. ARGV: head, event without its opening brace, last reply, answer, one body per sample.
local a = cjson.decode(ARGV[1])
local keep = a.keep
local now = a.at_ms
local marker = P .. "exchange:" .. a.request_id
local retry = a.idempotency and P .. "idempotency:" .. a.idempotency

local function end_conversation()
  if a.conversation == "" then
    return
  end
  local key, order = P .. "conversation:" .. a.conversation, P .. "order:" .. a.conversation
  if redis.call("HGET", key, "lock") == a.request_id then
    redis.call("HDEL", key, "lock", "lock_until_ms")
  end
  if not a.keeps_turn then
    redis.call("HSET", key, "reply", ARGV[3], "request_id", a.request_id, "version", a.version)
    redis.call("HINCRBY", key, "turns", 1)
  end
  for _, message in ipairs(a.messages) do
    if redis.call("HSET", key, "m:" .. message[1], message[2]) == 1 then
      redis.call("RPUSH", order, message[1])
    end
  end
  while redis.call("LLEN", order) > a.max_messages do
    redis.call("HDEL", key, "m:" .. redis.call("LPOP", order))
  end
  delete_after(key, now + keep.conversation_ms)
  delete_after(order, now + keep.conversation_ms)
end

-- Two conversations that have come the same way are neither: their prefix names none from then on.
local function name_prefix()
  if not a.prefix or a.conversation == "" then
    return
  end
  local key = P .. "prefix:" .. a.prefix
  local owner = redis.call("GET", key)
  redis.call("SET", key, (owner and owner ~= a.conversation) and "" or a.conversation)
  delete_after(key, now + keep.conversation_ms)
end

local function hold(sample, body, entry)
  local key = P .. "sample:" .. sample.id
  local reason = ""
  if sample.state ~= "quarantined" and redis.call("SISMEMBER", P .. "undone", sample.version) == 1 then
    sample.state, reason = "quarantined", "rollback"
  end
  redis.call("HSET", key, "state", sample.state, "author", sample.author, "version", sample.version,
    "pattern", sample.pattern, "due_ms", sample.due_ms, "since_ms", now, "request_id", sample.request_id,
    "conversation", sample.conversation, "kind", sample.kind, "risk", sample.risk, "learnable", sample.learnable,
    "captured_ms", sample.captured_ms, "update", "", "released_by", "", "reason", reason,
    "good", 0, "bad", 0, "body", body)
  redis.call("ZADD", P .. "in:" .. sample.state, sample.state == "held" and sample.due_ms or now, sample.id)
  local until_ms = sample.state == "held" and sample.due_ms + keep.held_ms or now + keep.quarantined_ms
  redis.call("ZADD", P .. "sample-deadlines", until_ms, sample.id)
  redis.call("SADD", P .. "by-author:" .. sample.author, sample.id)
  redis.call("SADD", P .. "by-version:" .. sample.version, sample.id)
  count_support(sample.pattern, sample.author, "", sample.state, now)
  local author = P .. "author:" .. sample.author
  redis.call("HSETNX", author, "first_ms", now)
  delete_after(author, now + keep.author_ms)
  return { sample.id, "", sample.state, reason }
end

local disowned = redis.call("HGET", marker, "disowned") == "1"
if redis.call("EXISTS", marker) == 1 and not (disowned and redis.call("HEXISTS", marker, "author") == 0) then
  return "duplicate"
end
local done = retry and redis.call("HMGET", retry, "state", "request_id") or {}
local twice = done[1] == "done" and done[2] ~= a.request_id
local moves, id = {}, ""
for i, sample in ipairs((twice or disowned) and {} or a.samples) do
  moves[i] = hold(sample, ARGV[4 + i])
  id = sample.id
end
local prelude = #moves > 0 and '{"moves":' .. cjson.encode(moves) .. "," or "{"
local entry = redis.call("XADD", P .. "log", "*", "e", prelude .. ARGV[2])
for _, m in ipairs(moves) do
  redis.call("HSET", P .. "sample:" .. m[1], "last", entry, "seq", entry)
end
redis.call("HSET", marker, "author", a.author, "version", a.version, "at_ms", now, "sample", id)
delete_after(marker, now + keep.exchange_ms)
end_conversation()
name_prefix()
if retry and not twice then
  redis.call("HSET", retry, "state", "done", "request_id", a.request_id, "answer", ARGV[4], "until_ms", 0)
  delete_after(retry, now + keep.idempotency_ms)
end
return disowned and "disowned" or twice and "duplicate" or "captured"
