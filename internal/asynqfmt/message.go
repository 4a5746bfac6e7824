package asynqfmt

import (
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Message is a new task as asynq stores it, in the field msg of its hash, as far as distpool
// says something.
type Message struct {
	Type    string
	Payload []byte
	ID      string
	Queue   string
	Retry   int   // how often the task may run again after a failure
	Timeout int64 // s; 0: none, which an asynq.Server takes for 30 minutes
}

// Append appends the message in protobuf's encoding, with the numbers of the fields in asynq's
// asynq.proto. As in every proto3 message, fields with their zero value are left out.
func (m Message) Append(b []byte) []byte {
	b = appendString(b, 1, m.Type)
	if len(m.Payload) > 0 {
		b = appendBytes(b, 2, m.Payload)
	}
	b = appendString(b, 3, m.ID)
	b = appendString(b, 4, m.Queue)
	b = appendInt(b, 5, int64(m.Retry))
	return appendInt(b, 8, m.Timeout)
}

// AppendFailure appends the error of a task's last run to its message. Of a field that comes
// twice, protobuf takes the last value.
func AppendFailure(message []byte, text string, failed time.Time) []byte {
	return appendInt(appendString(message, 7, text), 11, failed.Unix())
}

// IsMessage reports whether b is a message of protobuf.
func IsMessage(b []byte) bool {
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// appendString appends a field of text. Protobuf's text is UTF-8, and errors of users' code
// may not be: with one other byte in it no asynq tool would read the message.
func appendString(b []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), strings.ToValidUTF8(s, "\uFFFD"))
}

func appendBytes(b []byte, number protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), data)
}

func appendInt(b []byte, number protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
}
