package rawbytes_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/rawbytes"
)

func TestByteStringsSurvive(t *testing.T) {
	for _, items := range [][][]byte{
		{}, {nil}, {{}}, {[]byte("a"), nil, {}, []byte("\n# \x00"), bytes.Repeat([]byte{7}, 1<<20)},
	} {
		data := rawbytes.Encode(items)
		if !rawbytes.Is(data) {
			t.Errorf("%d items: the form is not recognised", len(items))
		}
		got, err := rawbytes.Parse(data)
		if err != nil || !reflect.DeepEqual(got, items) {
			t.Errorf("%d items came back as %d, %v", len(items), len(got), err)
		}
	}
}

func TestOneLargeItemMakesTheFormWorthIt(t *testing.T) {
	small, large := make([]byte, rawbytes.Least-1), make([]byte, rawbytes.Least)
	if rawbytes.Worth([][]byte{small, nil, small}) || !rawbytes.Worth([][]byte{small, large}) {
		t.Error("Worth looks at something else than the largest item")
	}
}

func TestDamagedFormsAreRefused(t *testing.T) {
	for _, data := range []string{
		"", "#", "#1", "#1\n", "#1\nab", "# \n", "#1 \na", "#-1\n", "#+1\na", "#x\na", "#--\n", "#1  1\nab",
		"#18446744073709551616\na", "#4611686018427387904\na", "[1]", "#1 18446744073709551615\na", "#\na",
	} {
		if items, err := rawbytes.Parse([]byte(data)); err == nil {
			t.Errorf("%q parses: %q", data, items)
		}
	}
}

func TestQuoteIsWhatJSONWouldSay(t *testing.T) {
	for item, want := range map[string]string{"": `""`, "hi": `"aGk="`} {
		if got := string(rawbytes.Quote([]byte(item))); got != want {
			t.Errorf("%q is quoted as %s, want %s", item, got, want)
		}
	}
	if got := string(rawbytes.Quote(nil)); got != "null" {
		t.Errorf("nil is quoted as %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("#1 - 2\nabc"))
	f.Add([]byte("#\n"))
	f.Add([]byte("#" + strings.Repeat("0 ", 100) + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := rawbytes.Parse(data)
		if err != nil {
			return
		}
		again, err := rawbytes.Parse(rawbytes.Encode(items))
		if err != nil || !slices.EqualFunc(items, again, func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }) {
			t.Fatalf("%q came back as %q, %v", items, again, err)
		}
	})
}
