package job

import (
	"strings"
	"testing"
)

func FuzzParseTaskID(f *testing.F) {
	f.Add("a:0:1")
	f.Add("a.b-c_d~GEN:12:34")
	f.Add("a~:1:1")
	f.Fuzz(func(t *testing.T, id string) {
		if d, ok := ParseTaskID(id); ok && (d.TaskID() != id || d.Name == "" || d.Number < 1) {
			t.Errorf("%q is read as %+v", id, d)
		}
	})
}

func FuzzParseNotices(f *testing.F) {
	f.Add("a  out 0 1 1 0 0 done 3\nxyz\n")
	f.Add("a G end -1 0 0 0 0 canceled 0\n\nb  rec 2 1 1 0 -1 sealed 0\n\n")
	f.Fuzz(func(t *testing.T, message string) {
		all, err := noticesOf(message)
		size := 0
		for _, n := range all {
			size += len(n.Frame)
			if n.Chunk < -1 || n.Recorded < 0 || n.Done < 0 || n.Failed < 0 || n.Running < 0 {
				t.Errorf("%q is read as %+v", message, n)
			}
		}
		if err == nil && size > len(message) {
			t.Errorf("%q has frames of %d bytes", message, size)
		}
	})
}

func FuzzParseAbout(f *testing.F) {
	f.Add("1 square")
	f.Add("1 square\n{\"codec\":\"gob\",\"start\":5}")
	f.Add("2 square")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAbout(text)
		if err != nil || strings.Contains(a.Task, "\n") {
			return
		}
		again, err := a.Encode()
		if err != nil {
			return // headers that are no JSON
		}
		if b, err := ParseAbout(again); err != nil || b.Task != a.Task || b.Codec != a.Codec || b.Start != a.Start {
			t.Errorf("%q is read as %+v, and again as %+v, %v", text, a, b, err)
		}
	})
}
