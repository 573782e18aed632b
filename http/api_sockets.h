/* http/api_sockets.h - the WebSockets in AsyncAPI: their channels, operations, messages and
 * schemas, each written into the map that is open. @thread any */
#pragma once
#include "http/api_text.h"

void api_sockets_channels(struct api_text *text);
void api_sockets_operations(struct api_text *text);
void api_sockets_messages(struct api_text *text);
void api_sockets_schemas(struct api_text *text);
