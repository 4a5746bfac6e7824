package tasks_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/distpool/distpool/internal/rawbytes"
	"github.com/distpool/distpool/tasks"
)

func TestLargeByteStringsTravelAsTheyAreToThoseWhoReadThem(t *testing.T) {
	task := identity[[]byte]()
	args := [][]byte{bytes.Repeat([]byte{0, '"', 0xff, '\n'}, 5000), nil, {}, []byte("small")}
	raw, err := tasks.EncodeFor(t.Context(), task, args)
	if err != nil || !rawbytes.Is(raw) || len(raw) > 20100 {
		t.Fatalf("%d bytes, %v; want the raw form", len(raw), err)
	}
	plain, err := task.EncodeArgs(args)
	if err != nil || plain[0] != '[' {
		t.Fatalf("EncodeArgs gives %.10q, %v; want JSON", plain, err)
	}
	if data, err := tasks.EncodeFor(t.Context(), task, args[1:]); err != nil || string(data) != `[null,"","c21hbGw="]` {
		t.Errorf("small ones are %s, %v", data, err)
	}
	// Every reader takes both, whatever its type.
	for what, data := range map[string][]byte{"raw": raw, "JSON": plain} {
		got := make([][]byte, 4)
		if err := task.DecodeValues(data, got); err != nil || !reflect.DeepEqual(got, args) {
			t.Errorf("%s: it came back as something else, %v", what, err)
		}
		texts := make([]json.RawMessage, 4)
		if err := identity[json.RawMessage]().DecodeValues(data, texts); err != nil || string(texts[3]) != `"c21hbGw="` || string(texts[1]) != "null" {
			t.Errorf("%s as JSON: %v", what, err)
		}
		items, err := tasks.JSON.Split(data)
		if err != nil || len(items) != 4 || string(items[2]) != `""` {
			t.Errorf("%s, split: %q, %v", what, items[min(2, len(items)):], err)
		}
		if joined, err := tasks.JSON.Join(items); err != nil || !bytes.Equal(joined, plain) {
			t.Errorf("%s, split and joined, is something else, %v", what, err)
		}
	}
	// What was decoded is the caller's.
	got := make([][]byte, 4)
	if err := task.DecodeValues(raw, got); err != nil {
		t.Fatal(err)
	}
	got[0][0]++
	again := make([][]byte, 4)
	if err := task.DecodeValues(raw, again); err != nil || !reflect.DeepEqual(again, args) {
		t.Errorf("a change of what was decoded changes what is decoded next, %v", err)
	}
}

func TestARawFormThatIsDamagedOrShortIsAnError(t *testing.T) {
	task := identity[[]byte]()
	for _, data := range []string{"#", "#5\nabcd", "#1 1\nab", "#1\na"} {
		if err := task.DecodeValues([]byte(data), make([][]byte, 3)); err == nil {
			t.Errorf("%q decodes", data)
		}
	}
}

func TestLargeValuesAreRawAndSavedOnesAreNot(t *testing.T) {
	task, large := identity[[]byte](), bytes.Repeat([]byte{0xfe}, rawbytes.Least)
	args, err := task.EncodeArgs([][]byte{large})
	if err != nil {
		t.Fatal(err)
	}
	c := decode(t, task, string(args), 1)
	if err := c.Call(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	values, bad := c.Encode(noneFailed, 0)
	if bad != nil || !rawbytes.Is(values) || c.Size(0, 0) != len(values) {
		t.Errorf("values are %.10q, %v, of size %d", values, bad, c.Size(0, 0))
	}
	saved, bad := c.Save(noneFailed, 0)
	if bad != nil || rawbytes.Is(saved) {
		t.Errorf("another worker is left %.10q, %v; want JSON", saved, bad)
	}
}
