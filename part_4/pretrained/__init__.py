"""Released models: their folder becomes this part's GPT with its tokenizer, and back.

Explained   the lesson's section "Released models, in and out"
Read        config.py, weight_places.py, loading.py; then tokenizer.py, cutting.py, chat_forms.py;
            then export.py, tokenizer_json.py; safetensors_io.py is the file format
"""
