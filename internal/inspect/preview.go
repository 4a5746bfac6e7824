package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/rawbytes"
	"github.com/distpool/distpool/internal/sealing"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// Preview is what can be shown of encoded data.
type Preview struct {
	Text string // "" when there is nothing to show
	Cut  bool   // Text is the beginning only
	Note string // why there is no text, or what it is; "" when it is plain JSON
}

// DefaultPreview is how many characters are shown unless more are asked for.
const DefaultPreview = 400

// Cut shortens a text to n characters, and says whether it did.
func Cut(s string, n int) (string, bool) {
	if len(s) <= n { // it has no more characters than bytes
		return s, false
	}
	count := 0
	for i := range s {
		if count == n {
			return s[:i], true
		}
		count++
	}
	return s, false
}

// jsonCodec is the name of the codec whose bytes people can read.
const jsonCodec = "json"

// sealedPrefix begins the names of codecs that encrypt; the rest is the codec inside.
var sealedPrefix = strings.TrimSuffix(secure.Encrypt(tasks.JSON, nil).Name(), tasks.JSON.Name())

// encrypted is the note on what cannot be shown for want of a key.
const encrypted = "encrypted"

// framesOf opens the frames of a chunk.
func (in *Inspector) framesOf(of signing.Ref, task string, chunk int) sealing.Frames {
	return sealing.Frames{Sealer: in.keys, Job: of, Task: task, Chunk: chunk}
}

// open decrypts arguments if they are encrypted, and returns the codec inside. note
// says why that is not possible.
func (in *Inspector) open(codec string, f sealing.Frames, first, calls int, data []byte) (inner string, plain []byte, note string) {
	inner, ok := strings.CutPrefix(codec, sealedPrefix)
	switch {
	case !ok || data == nil:
		return inner, data, ""
	case in.keys == nil:
		return inner, nil, encrypted
	}
	plain, err := f.OpenArgs(first, calls, data)
	if err != nil {
		return inner, nil, err.Error()
	}
	return inner, plain, ""
}

// previewCalls shows the elements of an encoded array, by their indexes, which
// ascend. data is nil when there is none; note, if there is one, says why.
func previewCalls(codec string, data []byte, note string, indexes []int, n int) []Preview {
	if n <= 0 {
		n = DefaultPreview
	}
	ps := make([]Preview, len(indexes))
	switch {
	case note != "":
	case data == nil:
		note = "the arguments were not kept"
	case codec != jsonCodec:
		note = fmt.Sprintf("encoded with codec %q, %d bytes for the chunk", codec, len(data))
	}
	if note != "" {
		for i := range ps {
			ps[i].Note = note
		}
		return ps
	}
	at := 0
	err := elements(data, func(i int, element []byte) bool {
		for at < len(indexes) && indexes[at] == i {
			ps[at] = previewBytes(element, n)
			at++
		}
		return at < len(indexes)
	})
	for ; at < len(ps); at++ {
		ps[at].Note = "the arguments cannot be read"
		if err != nil {
			ps[at].Note += ": " + err.Error()
		}
	}
	return ps
}

// previewBytes shows bytes that should be text.
func previewBytes(b []byte, n int) Preview {
	cut := false
	if most := n * utf8.UTFMax; len(b) > most {
		b, cut = b[:most], true
	}
	text, more := Cut(strings.ToValidUTF8(string(b), "\uFFFD"), n)
	return Preview{Text: text, Cut: cut || more}
}

// elements calls f with each element of an array of the JSON codec, as JSON, until it
// returns false.
func elements(data []byte, f func(i int, element []byte) bool) error {
	if rawbytes.Is(data) {
		items, err := rawbytes.Parse(data)
		for i, item := range items {
			if !f(i, rawbytes.Quote(item)) {
				break
			}
		}
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New("not an array")
	}
	for i := 0; dec.More(); i++ {
		var element json.RawMessage
		if err := dec.Decode(&element); err != nil {
			return err
		}
		if !f(i, element) {
			return nil
		}
	}
	return nil
}

// maxDeliveryArgs is how large the arguments of a chunk may be to be looked into
// for a preview of its delivery.
const maxDeliveryArgs = 1 << 20

// Delivery is what an asynq task runs.
type Delivery struct {
	Job   string // its address
	Chunk int
}

// Delivery describes what an asynq task is about, given its payload: the chunk,
// and a preview of its arguments of n characters at the most. ok is false when
// it is not a delivery. It reads the chunk's arguments if they are a MiB or less.
func (in *Inspector) Delivery(ctx context.Context, payload []byte, n int) (d Delivery, p Preview, ok bool) {
	a, chunk, ok := job.ParsePayload(payload)
	if !ok {
		return d, p, false
	}
	d = Delivery{Job: a.String(), Chunk: chunk}
	jobs, err := in.Look(ctx, []string{d.Job})
	switch {
	case err != nil:
		return d, Preview{Note: "the job's record cannot be read: " + err.Error()}, true
	case jobs[0].State == job.Gone:
		return d, Preview{Note: "the job is gone"}, true
	}
	j := jobs[0]
	frame, note := in.argsOf(ctx, j, d.Chunk)
	if note != "" {
		return d, Preview{Note: note}, true
	}
	first, calls, data, err := wire.ParseArgs(frame)
	if err != nil {
		return d, Preview{Note: err.Error()}, true
	}
	codec, data, note := in.open(j.Codec, in.framesOf(signing.Ref{ID: d.Job, Gen: j.Gen}, j.Task, d.Chunk), first, calls, data)
	if note != "" {
		return d, Preview{Note: note}, true
	}
	if codec != jsonCodec {
		return d, Preview{Note: fmt.Sprintf("%d calls, encoded with codec %q, %d bytes", calls, codec, len(data))}, true
	}
	if n <= 0 {
		n = DefaultPreview
	}
	return d, previewBytes(asJSON(data), n), true
}

// asJSON is an array of the JSON codec as JSON.
func asJSON(data []byte) []byte {
	if !rawbytes.Is(data) {
		return data
	}
	items, err := tasks.JSON.Split(data)
	if err != nil {
		return data
	}
	array, err := tasks.JSON.Join(items)
	if err != nil {
		return data
	}
	return array
}

// argsOf reads the framed arguments of a chunk, or those that were kept since
// calls of it failed; note says why there are none.
func (in *Inspector) argsOf(ctx context.Context, j Job, chunk int) (frame []byte, note string) {
	for _, field := range []string{job.ArgsOf(chunk), job.KeptOf(chunk)} {
		at := []string{field}
		size, err := in.frameSizes(ctx, j, at)
		if err == nil && size[0] > maxDeliveryArgs {
			return nil, fmt.Sprintf("%d bytes of arguments, too many to be shown", size[0])
		}
		if err == nil && size[0] > 0 {
			var frames [][]byte
			if frames, err = in.frames(ctx, j, at); err == nil && frames[0] != nil {
				return frames[0], ""
			}
		}
		if err != nil {
			return nil, "the arguments cannot be read: " + err.Error()
		}
	}
	return nil, "the chunk has its outcomes; its arguments are gone"
}
