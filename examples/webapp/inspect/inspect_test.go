package inspect

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
)

func TestATextIsCountedAndCompared(t *testing.T) {
	text := "The cat sat on the window sill. Dogs bark. The cat sat on the window seat! Where are birds?"
	r, err := Task.Call(t.Context(), File{Name: "a.txt", Data: []byte(text)})
	if err != nil || r.Text == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	got := r.Text
	if got.Words != 19 || got.Sentences != 4 || got.Top[0] != (Count{"window", 2}) {
		t.Errorf("%d words, %d sentences, top %v", got.Words, got.Sentences, got.Top)
	}
	// "sill" to "seat" is three replacements in 30 letters.
	if strings.Join(got.Alike, "|") != "The cat sat on the window sill|The cat sat on the window seat" || got.Likeness != 0.9 {
		t.Errorf("alike: %q, %v", got.Alike, got.Likeness)
	}
}

func TestAnImageIsMeasured(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 400, 100))
	for x := range 400 {
		for y := range 100 {
			img.SetRGBA(x, y, color.RGBA{R: 255, A: 255})
			if x >= 300 {
				img.SetRGBA(x, y, color.RGBA{B: 128, A: 255})
			}
		}
	}
	r, err := Task.Call(t.Context(), File{Data: encode(t, img)})
	if err != nil || r.Image == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	got := r.Image
	if got.Format != "png" || got.Width != 400 || got.Height != 100 {
		t.Errorf("%s, %d x %d", got.Format, got.Width, got.Height)
	}
	if len(got.Colours) != 2 || got.Colours[0] != (Colour{"#ff0000", 0.75}) || got.Colours[1] != (Colour{"#000080", 0.25}) {
		t.Errorf("colours %v", got.Colours)
	}
	thumb, format, err := image.DecodeConfig(bytes.NewReader(got.Thumbnail))
	if err != nil || format != "jpeg" || thumb.Width != 96 || thumb.Height != 24 {
		t.Errorf("the thumbnail: %s, %d x %d, %v", format, thumb.Width, thumb.Height, err)
	}
}

func TestAnImageThatClaimsToBeHugeIsNotDecoded(t *testing.T) {
	data := encode(t, image.NewGray(image.Rect(0, 0, 1, 1)))
	// The width and height, in the header chunk, whose sum follows.
	binary.BigEndian.PutUint32(data[16:], 60000)
	binary.BigEndian.PutUint32(data[20:], 60000)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	_, err := Task.Call(t.Context(), File{Data: data})
	if err == nil || !strings.Contains(err.Error(), "60000 x 60000 pixels; the limit is 24 megapixels") {
		t.Errorf("the error is %v", err)
	}
}

func TestWhatIsNeitherTextNorImageFails(t *testing.T) {
	if _, err := Task.Call(t.Context(), File{Name: "a.txt", Data: []byte{0xff, 0xfe, 0, 1}}); !errors.Is(err, errUnknown) {
		t.Errorf("the error is %v", err)
	}
}

func TestACanceledJobStopsTheWorkOnAFile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, data := range [][]byte{[]byte("One. Two. Three."), encode(t, image.NewGray(image.Rect(0, 0, 9, 9)))} {
		if _, err := Task.Call(ctx, File{Data: data}); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	}
}

func encode(t *testing.T, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
