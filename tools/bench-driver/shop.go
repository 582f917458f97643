package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	callWithin = 30 * time.Second
	// An order is created at version 1; its payment moves it on.
	versionAtCreation = 1
	// Products do not run out of stock during a run.
	quantity = 1
)

// shop is a client of Holdfast's API.
type shop struct {
	cfg    config
	conn   *grpc.ClientConn
	schema *schema
}

// trace holds the durations of one order, by phase.
type trace struct {
	id   string
	took map[string]time.Duration
}

func openShop(cfg config) (*shop, error) {
	schema, err := loadSchema(cfg.Protoset)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(cfg.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &shop{cfg: cfg, conn: conn, schema: schema}, nil
}

func (s *shop) close() { _ = s.conn.Close() }

// order takes one order from creation to delivery.
func (s *shop) order(ctx context.Context, buyer int) (*trace, error) {
	order := &trace{took: map[string]time.Duration{}}
	customer := s.cfg.Customers[buyer%len(s.cfg.Customers)]
	// The next step of an order is a person's, a moment after the answer to the previous one.
	phase := func(name string, act func() error) error {
		if len(order.took) > 0 {
			time.Sleep(time.Duration(s.cfg.ThinkMS) * time.Millisecond)
		}
		start := time.Now()
		err := act()
		order.took[name] = time.Since(start)
		return err
	}
	var payTo, units string
	if err := phase("create", func() (err error) {
		order.id, payTo, units, err = s.create(ctx, customer)
		return err
	}); err != nil {
		return order, err
	}
	if err := phase("pay", func() error {
		if err := s.report(ctx, payTo, units); err != nil {
			return err
		}
		return s.watchUntilPaid(ctx, customer, order.id)
	}); err != nil {
		return order, err
	}
	if err := phase("ship", func() error { return s.command(ctx, "MarkShipped", order.id) }); err != nil {
		return order, err
	}
	return order, phase("deliver", func() error { return s.command(ctx, "MarkDelivered", order.id) })
}

// create returns the order's id, where to pay, and how many base units.
func (s *shop) create(ctx context.Context, buyer customer) (id, payTo, units string, err error) {
	lines := make([]string, s.cfg.LinesPerOrder)
	for at, pick := range mathrand.Perm(len(s.cfg.Products))[:len(lines)] {
		chosen := s.cfg.Products[pick]
		lines[at] = fmt.Sprintf(`{"productId":%q,"quantity":%d,"expectedUnitPrice":%q}`, chosen.ID, quantity, chosen.Price)
	}
	response, err := s.call(ctx, buyer.Token, "OrderService/CreateOrder", fmt.Sprintf(
		`{"idempotencyKey":%q,"userId":"%d","lines":[%s],"asset":%q,"shippingAddress":"1 Harbour Street, Sample Town"}`,
		uuid.NewString(), buyer.UserID, strings.Join(lines, ","), s.cfg.Asset))
	if err != nil {
		return "", "", "", err
	}
	request := fieldOf(response, "payment_request").Message()
	return fieldOf(response, "order_id").String(), fieldOf(request, "address").String(),
		fieldOf(fieldOf(request, "amount").Message(), "units").String(), nil
}

// report reports the whole amount as final, as the watcher would.
func (s *shop) report(ctx context.Context, payTo, units string) error {
	txID, blockHash := randomHash(), randomHash()
	fact := strings.Join([]string{s.cfg.Network, txID, "0", "final", blockHash, "1"}, "\n")
	reportID := sha256.Sum256([]byte(fact))
	now := time.Now()
	report, err := s.schema.encode("PaymentReport", fmt.Sprintf(
		`{"source":%q,"network":%q,"observations":[{"reportId":%q,"asset":%q,"txId":%q,"outputIndex":0,"seq":1,`+
			`"state":"TRANSFER_STATE_FINAL","address":%q,"units":%q,"blockHeight":"1","blockHash":%q,"depth":12,"firstSeenAt":%q}]}`,
		s.cfg.Source, s.cfg.Network, hex.EncodeToString(reportID[:]), s.cfg.Asset, txID, payTo, units, blockHash,
		now.UTC().Format(time.RFC3339Nano)))
	if err != nil {
		return err
	}
	id := uuid.NewString()
	mac := hmac.New(sha256.New, s.cfg.SourceSecret)
	fmt.Fprintf(mac, "%s.%d.", id, now.Unix())
	mac.Write(report)
	_, err = s.call(ctx, s.cfg.WatcherToken, "PaymentService/ReportPayments", fmt.Sprintf(
		`{"id":%q,"timestampS":"%d","report":%q,"signatures":["v1,%s"]}`,
		id, now.Unix(), base64.StdEncoding.EncodeToString(report), base64.StdEncoding.EncodeToString(mac.Sum(nil))))
	return err
}

func (s *shop) command(ctx context.Context, method, orderID string) error {
	_, err := s.call(ctx, s.cfg.FulfilmentToken, "FulfilmentService/"+method,
		fmt.Sprintf(`{"idempotencyKey":%q,"orderId":%q}`, uuid.NewString(), orderID))
	return err
}

// watchUntilPaid waits for the first change of the order after its creation, which is its payment.
func (s *shop) watchUntilPaid(ctx context.Context, buyer customer, orderID string) error {
	const method = "OrderService/WatchOrder"
	ctx, cancel := context.WithTimeout(authorised(ctx, buyer.Token), callWithin)
	defer cancel() // ends the stream, which would go on until the order is final
	request, response, path, err := s.schema.exchange(method,
		fmt.Sprintf(`{"orderId":%q,"afterVersion":"%d"}`, orderID, versionAtCreation))
	if err != nil {
		return err
	}
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	if err == nil {
		err = stream.SendMsg(request)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		err = stream.RecvMsg(response)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	status := fieldOf(fieldOf(response, "state").Message(), "status")
	if name := s.schema.enumName("OrderStatus", status.Enum()); name != "ORDER_STATUS_PROCESSING" {
		return fmt.Errorf("%s: the order is %s", method, name)
	}
	return nil
}

func (s *shop) call(ctx context.Context, token, method, body string) (protoreflect.Message, error) {
	ctx, cancel := context.WithTimeout(authorised(ctx, token), callWithin)
	defer cancel()
	request, response, path, err := s.schema.exchange(method, body)
	if err != nil {
		return nil, err
	}
	if err := s.conn.Invoke(ctx, path, request, response); err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return response, nil
}

func authorised(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func fieldOf(message protoreflect.Message, name protoreflect.Name) protoreflect.Value {
	return message.Get(message.Descriptor().Fields().ByName(name))
}

func randomHash() string {
	var bytes [32]byte
	_, _ = rand.Read(bytes[:]) // never fails
	return "0x" + hex.EncodeToString(bytes[:])
}
