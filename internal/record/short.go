package record

import "strconv"

// The commonest record is short: submit leaves out of an inline job's hash what is as
// usual, and readers take a field that is not there for that. It costs a queued call a
// fifteenth of its memory.
//
// What is usual can never change: it is part of records that exist. The scripts know
// it too (lua/common.lua). The version is among it, so that programs that were made
// before there were short records say that they do not know this one.
var usually = map[string]string{
	"v":     "1",
	"codec": usualCodec,
	"calls": "1",
	"ttl":   "3600000", // ms
	"big":   "1",       // where there is no version either: makers of before wrote that, and not this
	// Never stored by submit; what a count is that nobody has counted.
	"chunks":   "1",
	"recorded": "0",
	"done":     "0",
	"failed":   "0",
}

const usualCodec = "json"

// isUsual reports whether an inline job need not store the value.
func isUsual(field string, value any) bool {
	usual, ok := usually[field]
	if !ok {
		return false
	}
	switch value := value.(type) {
	case string:
		return value == usual
	case int:
		return strconv.Itoa(value) == usual
	case int64:
		return strconv.FormatInt(value, 10) == usual
	}
	return false
}

// complete adds to the fields of an inline job what was left out, of those that were
// asked for.
func complete(fields map[string]string, asked []string) {
	if fields["inline"] != "1" {
		return
	}
	for _, name := range asked {
		if _, there := fields[name]; there {
			continue
		}
		if usual, ok := usually[name]; ok {
			fields[name] = usual
		}
	}
}

// CodecOf is the codec of a job of whose hash the fields codec and inline were read.
func CodecOf(codec, inline string) string {
	fields := map[string]string{"inline": inline}
	if codec != "" {
		fields["codec"] = codec
	}
	complete(fields, []string{"codec"})
	return fields["codec"]
}
