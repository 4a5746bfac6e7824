package jsoncodec

import "encoding/json"

// maxDepth is how deep encoding/json decodes. It encodes values of any depth.
const maxDepth = 10_000

// splitDeep cuts an array apart of which at least one item is nested too deep for
// encoding/json. It is false if data is not such an array. The items that are too
// deep are not checked: each fails when it is decoded.
func splitDeep(data []byte) (items [][]byte, ok bool) {
	valid := true
	ok = eachItem(data, func(item []byte) bool {
		items = append(items, item)
		valid = json.Valid(item) || isTooDeep(item)
		return valid
	})
	return items, ok && valid
}

// isTooDeep reports whether data is nested deeper than maxDepth.
func isTooDeep(data []byte) bool {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if depth++; depth > maxDepth {
				return true
			}
		case ']', '}':
			depth--
		}
	}
	return false
}
