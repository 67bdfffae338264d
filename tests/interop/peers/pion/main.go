// Pion behind the line protocol of README.md in the folder above.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
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
	URL            string  `json:"url"`
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

// Sets the description that Pion has made; gives it with every candidate in it.
func (p *peer) describe(description webrtc.SessionDescription, err error) webrtc.SessionDescription {
	must(err)
	gathered := webrtc.GatheringCompletePromise(p.connection)
	must(p.connection.SetLocalDescription(description))
	<-gathered
	return *p.connection.LocalDescription()
}

func tellDescription(local webrtc.SessionDescription) {
	tell("description", members{"type": local.Type.String(), "sdp": local.SDP})
}

// Signalling as the echo server's page does it: the whole offer goes out as JSON, and the response is the answer.
func exchange(url string, offer webrtc.SessionDescription) (answer webrtc.SessionDescription) {
	body, err := json.Marshal(offer)
	must(err)
	response, err := http.Post(url, "application/json", bytes.NewReader(body))
	must(err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		must(fmt.Errorf("%s refused the offer: %s", url, response.Status))
	}
	must(json.NewDecoder(response.Body).Decode(&answer))
	return answer
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
		tellDescription(p.describe(p.connection.CreateOffer(nil)))
	case "answer":
		must(p.connection.SetRemoteDescription(remote))
		tellDescription(p.describe(p.connection.CreateAnswer(nil)))
	case "accept":
		must(p.connection.SetRemoteDescription(remote))
	case "post":
		offer := p.describe(p.connection.CreateOffer(nil))
		must(p.connection.SetRemoteDescription(exchange(c.URL, offer)))
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
