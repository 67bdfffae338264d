// Pion behind the line protocol of README.md in the folder above.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"

	"github.com/pion/webrtc/v3"
)

const maxLine = 1 << 24

type command struct {
	Do             string  `json:"do"`
	Label          string  `json:"label"`
	Protocol       string  `json:"protocol"`
	Ordered        *bool   `json:"ordered"`
	MaxRetransmits *uint16 `json:"maxRetransmits"`
	Type           string  `json:"type"`
	SDP            string  `json:"sdp"`
	Text           string  `json:"text"`
	Binary         []byte  `json:"binary"`
}

type members map[string]any

var speaking sync.Mutex

func tell(event string, also members) {
	speaking.Lock()
	defer speaking.Unlock()
	line := members{"event": event}
	for name, value := range also {
		line[name] = value
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		panic(err)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// One PeerConnection, told what to do line by line.
type peer struct {
	connection *webrtc.PeerConnection
	guard      sync.Mutex
	channels   map[string]*webrtc.DataChannel
}

func (p *peer) watch(channel *webrtc.DataChannel) {
	label := channel.Label()
	p.guard.Lock()
	p.channels[label] = channel
	p.guard.Unlock()
	channel.OnOpen(func() { tell("open", members{"label": label, "protocol": channel.Protocol()}) })
	channel.OnClose(func() { tell("closed", members{"label": label}) })
	channel.OnMessage(func(message webrtc.DataChannelMessage) {
		if message.IsString {
			tell("message", members{"label": label, "text": string(message.Data)})
		} else {
			tell("message", members{"label": label, "binary": append([]byte{}, message.Data...)})
		}
	})
}

func (p *peer) channel(label string) *webrtc.DataChannel {
	p.guard.Lock()
	defer p.guard.Unlock()
	return p.channels[label]
}

func (p *peer) describe(description webrtc.SessionDescription, err error) {
	must(err)
	gathered := webrtc.GatheringCompletePromise(p.connection)
	must(p.connection.SetLocalDescription(description))
	<-gathered
	local := p.connection.LocalDescription()
	tell("description", members{"type": local.Type.String(), "sdp": local.SDP})
}

func (p *peer) obey(c command) {
	remote := webrtc.SessionDescription{Type: webrtc.NewSDPType(c.Type), SDP: c.SDP}
	switch c.Do {
	case "open":
		channel, err := p.connection.CreateDataChannel(c.Label, &webrtc.DataChannelInit{
			Protocol: &c.Protocol, Ordered: c.Ordered, MaxRetransmits: c.MaxRetransmits,
		})
		must(err)
		p.watch(channel)
	case "offer":
		p.describe(p.connection.CreateOffer(nil))
	case "answer":
		must(p.connection.SetRemoteDescription(remote))
		p.describe(p.connection.CreateAnswer(nil))
	case "accept":
		must(p.connection.SetRemoteDescription(remote))
	case "send":
		if c.Binary != nil {
			must(p.channel(c.Label).Send(c.Binary))
		} else {
			must(p.channel(c.Label).SendText(c.Text))
		}
	case "close_channel":
		must(p.channel(c.Label).Close())
	case "close":
		must(p.connection.Close())
	}
}

func main() {
	connection, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	must(err)
	p := &peer{connection: connection, channels: map[string]*webrtc.DataChannel{}}
	connection.OnDataChannel(p.watch)
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		tell("state", members{"state": state.String()})
	})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var c command
		must(json.Unmarshal(lines.Bytes(), &c))
		p.obey(c)
	}
	_ = connection.Close() // the other side may have closed it before
}
