// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/testing/must_run.h"
#include "net/testing/private_network.h"

/// In SetUp(): every test of the fixture gets a network namespace of its own.
#define TAPIR_ENTER_NETWORK_NAMESPACE()                                              \
  do {                                                                               \
    if (auto entered = ::tapir::net::testing::enter_network_namespace(); !entered) { \
      TAPIR_SKIP_TEST(entered.error().message());                                    \
    }                                                                                \
  } while (false)
