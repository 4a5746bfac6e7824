-- finish: records the outcomes of a chunk, and ends its delivery: record and asynq's
-- done in one, for a chunk without failures. It is for a server that holds all keys,
-- not for a Cluster.
--
-- KEYS: 1-5 the job, 6-10 see ending.lua.
-- ARGV: 1-8 see recording.lua, 9 asynq's task ID, 10 when the day's counter goes (s).
-- Reply: record's. Whatever it is, the delivery has nothing left to do; but for an error,
-- with which nothing was recorded, and the delivery goes on.

local answer = recording()
if type(answer) == 'table' then
  return answer -- an error
end
end_delivery(6, ARGV[9], ARGV[10])
return answer
