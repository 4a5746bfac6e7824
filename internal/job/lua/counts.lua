-- Whether a field is absent, or a number that HINCRBY takes and a float has exactly. A script that
-- fails at one record leaves the entries behind it undone.
local function counts(field)
  return not field or #field <= 15 and (field == '0' or string.find(field, '^[1-9]%d*$') ~= nil)
end

-- How long a record lives once its job is over, ms: a field that is no time to live is an hour.
local function lifetime(field)
  return field and field ~= '0' and counts(field) and field or '3600000'
end
