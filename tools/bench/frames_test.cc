// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/frames.h"

#include <gtest/gtest.h>

#include <cstring>

#include "net/vnet_header.h"

namespace tapir::bench {
namespace {

/// A stamped frame in pieces of `piece_bytes`.
class Stamped {
 public:
  Stamped(std::size_t bytes, std::size_t piece_bytes, std::uint64_t number) : memory_(bytes) {
    write_frame(memory_);
    pieces = pieces_at(memory_.data(), bytes, piece_bytes, piece_bytes);
    stamp(pieces, bytes, number);
  }
  std::vector<iovec> pieces;
  std::vector<std::byte>& memory() { return memory_; }

 private:
  std::vector<std::byte> memory_;
};

TEST(Frames, NumberComesBackHoweverTheFrameIsCut) {
  for (const std::size_t piece : {0U, 1536U, 4096U, 65220U}) {
    const Stamped frame(kLargeFrameBytes, piece, 0x1122334455667788);
    EXPECT_EQ(read_stamp(frame.pieces, kLargeFrameBytes), 0x1122334455667788U) << piece;
  }
}

TEST(Frames, CutFrameHasNoNumber) {
  const Stamped frame(1514, 0, 7);
  EXPECT_EQ(read_stamp(frame.pieces, 1514), 7U);
  EXPECT_EQ(read_stamp(frame.pieces, 1513), std::nullopt);
  EXPECT_EQ(read_stamp(frame.pieces, 60), std::nullopt);
}

TEST(Frames, FrameWithAnotherOnesEndHasNoNumber) {
  Stamped frame(118, 0, 7);
  const std::uint64_t other = 8;
  std::memcpy(frame.memory().data() + 110, &other, sizeof other);
  EXPECT_EQ(read_stamp(frame.pieces, 118), std::nullopt);
}

TEST(Frames, OnlyLargeFramesAskForSegmentation) {
  const Stamped small(1514, 0, 0);
  const Stamped large(kLargeFrameBytes, 4096, 0);
  EXPECT_EQ(net::copy_vnet_header(small.pieces)->gso_type, VIRTIO_NET_HDR_GSO_NONE);
  EXPECT_EQ(net::copy_vnet_header(large.pieces)->gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
}

TEST(FrameMix, IsReadFromWords) {
  EXPECT_EQ(parse_frame_mix("118")->sizes, (std::vector<std::size_t>{118}));
  EXPECT_EQ(parse_frame_mix("mixed")->sizes, (std::vector<std::size_t>{118, kLargeFrameBytes}));
  const auto list = parse_frame_mix("118,1514,tso");
  ASSERT_TRUE(list);
  EXPECT_EQ(list->largest(), kLargeFrameBytes);
  EXPECT_EQ(list->size_of(4), 1514U);
  EXPECT_EQ(list->name(), "118 B + 1514 B + 64K TSO");
}

TEST(FrameMix, RefusesSizesThatNoFrameHas) {
  for (const char* text : {"", "81", "1527", "118,", "big", "-1", "118;tso"}) {
    const auto mix = parse_frame_mix(text);
    ASSERT_FALSE(mix) << text;
    EXPECT_NE(mix.error().message().find("82 to 1526"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace tapir::bench
