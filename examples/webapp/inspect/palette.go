package inspect

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"math"
	"slices"
)

// Colour is one of the colours that an image is made of.
type Colour struct {
	Hex   string  // such as "#1a2b3c"
	Share float64 // of the pixels that are nearest to it, from 0 to 1
}

const (
	colours = 6
	// maxRounds and maxSampled bound the work on one image to some seconds: of a
	// larger one every second or third pixel is looked at, and so on.
	maxRounds  = 32
	maxSampled = 1 << 20
)

type point [3]float64

// palette finds the colours around which those of the image lie, the most
// frequent one first (k-means).
func palette(ctx context.Context, img *image.RGBA) ([]Colour, error) {
	points := sample(img)
	centers := seed(points)
	counts := make([]int, len(centers))
	for range maxRounds {
		if ctx.Err() != nil { // the job was canceled, or the call's time is over
			return nil, context.Cause(ctx)
		}
		sums := make([]point, len(centers))
		clear(counts)
		for _, p := range points {
			n := nearest(centers, p)
			counts[n]++
			for i := range p {
				sums[n][i] += p[i]
			}
		}
		moved := 0.0
		for n, count := range counts {
			for i := range sums[n] {
				if count > 0 {
					moved = max(moved, math.Abs(sums[n][i]/float64(count)-centers[n][i]))
					centers[n][i] = sums[n][i] / float64(count)
				}
			}
		}
		if moved < 0.01 {
			break
		}
	}
	var found []Colour
	for n, c := range centers {
		if counts[n] > 0 {
			hex := fmt.Sprintf("#%02x%02x%02x", uint8(c[0]+0.5), uint8(c[1]+0.5), uint8(c[2]+0.5))
			found = append(found, Colour{Hex: hex, Share: float64(counts[n]) / float64(len(points))})
		}
	}
	slices.SortFunc(found, func(a, b Colour) int { return cmp.Compare(b.Share, a.Share) })
	return found, nil
}

func sample(img *image.RGBA) []point {
	total := len(img.Pix) / 4
	step := (total + maxSampled - 1) / maxSampled
	points := make([]point, 0, total/step+1)
	for i := 0; i < total; i += step {
		p := img.Pix[4*i:]
		points = append(points, point{float64(p[0]), float64(p[1]), float64(p[2])})
	}
	return points
}

// seed picks colours that are far from each other, the same ones for the same
// image: a call that runs twice must not answer twice.
func seed(points []point) []point {
	centers := []point{points[0]}
	for len(centers) < colours {
		far, distance := points[0], 0.0
		for _, p := range points {
			if d := squared(p, centers[nearest(centers, p)]); d > distance {
				far, distance = p, d
			}
		}
		if distance == 0 {
			break // it has no more colours than that
		}
		centers = append(centers, far)
	}
	return centers
}

func nearest(centers []point, p point) int {
	best, distance := 0, math.MaxFloat64
	for i, c := range centers {
		if d := squared(p, c); d < distance {
			best, distance = i, d
		}
	}
	return best
}

func squared(a, b point) float64 {
	x, y, z := a[0]-b[0], a[1]-b[1], a[2]-b[2]
	return x*x + y*y + z*z
}
