-- Whether a field is absent, or a number that HINCRBY takes and a float has exactly. A script that
-- fails at one record leaves the entries behind it undone.
local function counts(field)
  return not field or #field <= 15 and (field == '0' or string.find(field, '^[1-9]%d*$') ~= nil)
end
