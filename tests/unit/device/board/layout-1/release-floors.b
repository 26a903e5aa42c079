1696842a
{"document": {"digits": 2}, "turn": 2}