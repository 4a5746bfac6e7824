package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"

	"github.com/distpool/distpool/examples/webapp/inspect"
)

const (
	samplePictures = 22
	sampleTexts    = 22
)

// sampleFiles is what the "try it with a sample" button works on: drawn pictures,
// texts made up of random sentences, and some files that are not what they seem.
var sampleFiles = sync.OnceValue(func() []inspect.File {
	var files []inspect.File
	rng := rand.New(rand.NewPCG(7, 11)) // the same files each time
	for i := range max(samplePictures, sampleTexts) {
		if i < samplePictures {
			files = append(files, inspect.File{Name: fmt.Sprintf("pictures/wave-%02d.jpg", i+1), Data: picture(rng)})
		}
		if i < sampleTexts {
			files = append(files, inspect.File{Name: fmt.Sprintf("texts/story-%02d.txt", i+1), Data: []byte(story(rng))})
		}
	}
	half := files[0].Data[:len(files[0].Data)/2]
	return append(files,
		inspect.File{Name: "broken/half-a-picture.jpg", Data: half},
		inspect.File{Name: "broken/no-text.txt", Data: []byte{0xff, 0xfe, 0x00, 0x01}},
		inspect.File{Name: "broken/<b>a name with markup</b>.txt", Data: []byte("It is shown as it is. It does no harm.")},
	)
})

// picture draws crossing waves in random colours.
func picture(rng *rand.Rand) []byte {
	const w, h = 800, 600
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	var freq, phase, bright [3]float64
	for i := range 3 {
		freq[i], phase[i], bright[i] = 2+9*rng.Float64(), 6*rng.Float64(), 0.4+0.6*rng.Float64()
	}
	wave := func(i, at, of int) float64 { return math.Sin(freq[i]*float64(at)/float64(of) + phase[i]) }
	columns, rows := [3][w]float64{}, [3][h]float64{}
	for i := range 3 {
		for x := range w {
			columns[i][x] = wave(i, x, w)
		}
		for y := range h {
			rows[i][y] = wave((i+1)%3, y, h)
		}
	}
	for y := range h {
		for x := range w {
			var c [3]uint8
			for i := range 3 {
				c[i] = uint8(bright[i] * (127.5 + 63.75*(columns[i][x]+rows[i][y])))
			}
			img.SetRGBA(x, y, color.RGBA{R: c[0], G: c[1], B: c[2], A: 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err) // memory takes all that is written to it
	}
	return b.Bytes()
}

var (
	subjects = strings.Fields("fox captain gardener engine river lighthouse painter comet baker orchestra")
	verbs    = strings.Fields("follows remembers repairs discovers forgets carries admires measures invents questions")
	manners  = strings.Fields("slowly gladly secretly carefully often never suddenly patiently")
	places   = strings.Fields("harbour mountain library station garden island workshop theatre valley market")
)

// story is some hundred sentences without a plot.
func story(rng *rand.Rand) string {
	pick := func(words []string) string { return words[rng.IntN(len(words))] }
	var b strings.Builder
	for range 300 + rng.IntN(120) {
		fmt.Fprintf(&b, "The %s %s %s the %s of the %s, and the %s near the %s %s it. ",
			pick(subjects), pick(manners), pick(verbs), pick(subjects), pick(places), pick(subjects), pick(places), pick(verbs))
	}
	return b.String()
}

// writeSample writes the sample as an archive to be uploaded.
func writeSample(name string) error {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range sampleFiles() {
		w, err := z.Create(f.Name)
		if err != nil {
			return err
		}
		if _, err := w.Write(f.Data); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o600)
}
