package inspect

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif" // a format that image.Decode knows
	"image/jpeg"
	_ "image/png" // another one
)

// Image is what is known about an image.
type Image struct {
	Format        string // "png", "jpeg" or "gif"
	Width, Height int    // in pixels
	Colours       []Colour
	Thumbnail     []byte // a JPEG of 96 pixels at the most in each direction
}

const (
	// maxPixels bounds the memory that an image takes when it is decoded, 4 bytes
	// for each: a file of some kilobytes can claim to be of any size.
	maxPixels     = 24 << 20
	thumbnailSide = 96
)

func readImage(ctx context.Context, data []byte) (*Image, error) {
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("the image cannot be read: %w", err)
	}
	if cfg.Width <= 0 || cfg.Height <= 0 || cfg.Width > maxPixels/cfg.Height {
		return nil, fmt.Errorf("an image of %d x %d pixels; the limit is %d megapixels", cfg.Width, cfg.Height, maxPixels>>20)
	}
	decoded, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("the image cannot be read: %w", err)
	}
	// On white, where it is transparent.
	flat := image.NewRGBA(image.Rect(0, 0, decoded.Bounds().Dx(), decoded.Bounds().Dy()))
	draw.Draw(flat, flat.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(flat, flat.Bounds(), decoded, decoded.Bounds().Min, draw.Over)

	colours, err := palette(ctx, flat)
	if err != nil {
		return nil, err
	}
	var thumb bytes.Buffer
	if err := jpeg.Encode(&thumb, shrink(flat, thumbnailSide), nil); err != nil {
		return nil, fmt.Errorf("writing the thumbnail: %w", err)
	}
	return &Image{Format: format, Width: cfg.Width, Height: cfg.Height, Colours: colours, Thumbnail: thumb.Bytes()}, nil
}

// shrink makes img fit into a square of so many pixels. Each pixel of the result
// is the mean of those that it stands for.
func shrink(img *image.RGBA, side int) *image.RGBA {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	long := max(w, h, side)
	small := image.NewRGBA(image.Rect(0, 0, max(1, w*side/long), max(1, h*side/long)))
	sw, sh := small.Rect.Dx(), small.Rect.Dy()
	for y := range sh {
		for x := range sw {
			small.SetRGBA(x, y, mean(img, image.Rect(x*w/sw, y*h/sh, (x+1)*w/sw, (y+1)*h/sh)))
		}
	}
	return small
}

func mean(img *image.RGBA, r image.Rectangle) color.RGBA {
	var red, green, blue, n int
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			c := img.RGBAAt(x, y)
			red, green, blue, n = red+int(c.R), green+int(c.G), blue+int(c.B), n+1
		}
	}
	n = max(n, 1)
	return color.RGBA{R: uint8(red / n), G: uint8(green / n), B: uint8(blue / n), A: 255}
}
