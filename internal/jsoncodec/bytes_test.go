package jsoncodec

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestByteStringsAreEncodedAsEncodingJSONDoesIt(t *testing.T) {
	large := make([]byte, 1<<20+1)
	_, _ = rand.NewChaCha8([32]byte{}).Read(large)
	for _, items := range [][][]byte{{}, {nil}, {{}}, {[]byte("a"), nil, []byte("<ab>"), {}}, {{0, 255}}, {large, large[:5]}} {
		want, err := json.Marshal(items)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := appendBytes(items)
		if !ok || !bytes.Equal(got, want) {
			t.Errorf("appendBytes of %d items is %.40q, %v, want %.40q", len(items), got, ok, want)
		}
		var back [][]byte
		if err := codec.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, items) {
			t.Errorf("%.40q decodes to %d items, error %v, want %d", got, len(back), err, len(items))
		}
	}
	if _, ok := appendBytes([][]byte(nil)); ok {
		t.Error("appendBytes took a nil slice, which is null")
	}
}

func TestByteStringsAreDecodedAsEncodingJSONDoesIt(t *testing.T) {
	for _, data := range []string{
		`[]`, ` [ "YQ==" , "" ] `, `[null]`, `["YQ==",null]`, `["\u0059Q=="]`, `["\/\/\/\/"]`, `["////"]`, `null`,
		`["YQ"]`, `["YQ==`, `["YQ==]`, `["Y Q=="]`, "[\"YQ\n==\"]", "[\"YQ\r==\"]", `["YQ\n=="]`, `["YR=="]`, `["YQ=="`, `["YQ=="] 1`,
		`["YQ==",]`, `["é"]`, `[1]`, `[[1,2]]`, `["YQ=="x]`, `{}`, ``,
	} {
		var got, want [][]byte
		err, werr := codec.Unmarshal([]byte(data), &got), json.Unmarshal([]byte(data), &want)
		if (err == nil) != (werr == nil) {
			t.Errorf("%q: error %v, encoding/json says %v", data, err, werr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%q decodes to %q, encoding/json to %q", data, got, want)
		}
	}
}

func TestDecodedByteStringsDoNotShareMemoryWithTheirData(t *testing.T) {
	data := []byte(`["YWJj"]`)
	var got [][]byte
	if err := codec.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'x'
	}
	if string(got[0]) != "abc" {
		t.Errorf("the item changed with its data: %q", got[0])
	}
}
