package asynqfmt

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Message is a task as asynq stores it, in the field msg of its hash. Fields that
// distpool does not use (unique keys, groups, retention) are kept by Parse and Append.
type Message struct {
	Type       string
	Payload    []byte
	ID         string
	Queue      string
	Retry      int // how often the task may run again after a failure
	Retried    int
	Error      string // of the last failure
	LastFailed int64  // Unix, s; 0: never
	Timeout    int64  // s; 0: none, which an asynq.Server takes for 30 minutes
	Deadline   int64  // Unix, s; 0: none

	other []byte // fields of the message that have no name here, as they were
}

// The numbers of the fields in asynq's asynq.proto.
const (
	fieldType       protowire.Number = 1
	fieldPayload    protowire.Number = 2
	fieldID         protowire.Number = 3
	fieldQueue      protowire.Number = 4
	fieldRetry      protowire.Number = 5
	fieldRetried    protowire.Number = 6
	fieldError      protowire.Number = 7
	fieldTimeout    protowire.Number = 8
	fieldDeadline   protowire.Number = 9
	fieldLastFailed protowire.Number = 11
)

// Append appends the message in protobuf's encoding. As in every proto3 message,
// fields with their zero value are left out.
func (m *Message) Append(b []byte) []byte {
	b = appendString(b, fieldType, m.Type)
	if len(m.Payload) > 0 {
		b = protowire.AppendTag(b, fieldPayload, protowire.BytesType)
		b = protowire.AppendBytes(b, m.Payload)
	}
	b = appendString(b, fieldID, m.ID)
	b = appendString(b, fieldQueue, m.Queue)
	b = appendInt(b, fieldRetry, int64(m.Retry))
	b = appendInt(b, fieldRetried, int64(m.Retried))
	b = appendString(b, fieldError, m.Error)
	b = appendInt(b, fieldTimeout, m.Timeout)
	b = appendInt(b, fieldDeadline, m.Deadline)
	b = appendInt(b, fieldLastFailed, m.LastFailed)
	return append(b, m.other...)
}

// ParseMessage reads what Append wrote, or asynq itself. The message refers to b.
func ParseMessage(b []byte) (Message, error) {
	var m Message
	texts := map[protowire.Number]*string{fieldType: &m.Type, fieldID: &m.ID, fieldQueue: &m.Queue, fieldError: &m.Error}
	ints := map[protowire.Number]*int64{fieldTimeout: &m.Timeout, fieldDeadline: &m.Deadline, fieldLastFailed: &m.LastFailed}
	counts := map[protowire.Number]*int{fieldRetry: &m.Retry, fieldRetried: &m.Retried}
	for whole := b; len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Message{}, damaged(whole, n)
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return Message{}, damaged(whole, size)
		}
		field, value := b[:n+size], b[n:n+size]
		b = b[n+size:]
		switch {
		case number == fieldPayload && kind == protowire.BytesType:
			m.Payload, _ = protowire.ConsumeBytes(value)
		case texts[number] != nil && kind == protowire.BytesType:
			*texts[number], _ = protowire.ConsumeString(value)
		case ints[number] != nil && kind == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			*ints[number] = int64(v)
		case counts[number] != nil && kind == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			*counts[number] = int(int32(v))
		default:
			m.other = append(m.other, field...)
		}
	}
	return m, nil
}

func damaged(b []byte, n int) error {
	return fmt.Errorf("%d bytes are no message of an asynq task: %w", len(b), protowire.ParseError(n))
}

// appendString appends a field of text. Protobuf's text is UTF-8, and errors of users' code
// may not be: with one other byte in it no asynq tool would read the message.
func appendString(b []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

func appendInt(b []byte, number protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
}
